"""Training data built from plain files by a recipe: labels, tasks with answers, pairs, and texts to keep still."""
