"""Vector search where the user says what similarity means."""
