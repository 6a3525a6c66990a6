"""Scoring: hide and reveal through files, results, reports and steganalysis."""
