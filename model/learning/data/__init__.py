"""What a person's clips are: which stretches of which films show what, and how they are split."""
