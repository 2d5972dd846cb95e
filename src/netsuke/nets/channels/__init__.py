"""What pruning needs: which channels belong together, what each is worth, and how they leave."""
