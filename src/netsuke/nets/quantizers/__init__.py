"""What quantization needs: schemes as operations, where they stand, their ranges, rounding, training."""
