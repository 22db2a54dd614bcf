"""Plots of a section as SVG: no library, no script, and each a few kilobytes."""
