"""Writes packages to start a plugin from."""

from dpbench.new.package import KINDS, NotAName, make_package

__all__ = ["KINDS", "NotAName", "make_package"]
