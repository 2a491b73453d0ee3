"""Training of embedders that follow instructions: data in MEDI's form, losses, the loop, and what is saved.

Imported by the command `train` alone, inside it. Knows embedders; nothing of collections.
"""
