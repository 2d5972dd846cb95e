"""What a network is worth before it is trained, at the cost of a call or two (Abdelfattah et al., 2021), a file each."""
