"""This package as a part of other software: one module for each, imported only where that is used."""
