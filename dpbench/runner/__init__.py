"""Carries out a plan: data, jobs, results, audits."""
