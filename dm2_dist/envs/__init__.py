"""Environments that the actors play: one interface, one place to make them, one package a game."""
