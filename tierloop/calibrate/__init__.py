"""Measures this machine and writes its hardware profile."""
