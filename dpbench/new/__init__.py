"""Writes packages to start a plugin from."""

from dpbench.new.package import KINDS, NameTaken, NotAName, make_package

__all__ = ["KINDS", "NameTaken", "NotAName", "make_package"]
