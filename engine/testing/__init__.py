"""Tests of methods: hide and reveal through files, score, write results and reports, run steganalysis."""
