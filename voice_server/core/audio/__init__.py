"""Audio: samples, their order, and who heard what."""
