"""Coterie: the coding agents on your machine find each other and talk, truthfully."""

__version__ = "0.1.0"
