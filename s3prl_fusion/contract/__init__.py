"""Whether an upstream keeps to run_downstream's contract, and what else its author wants to know.

The contract: called with B waveforms of one dimension, 16 kHz, an upstream gives a dict with ``hidden_states``:
floating point tensors (B, T, D) of one shape, finite, with |T - round(longest / rate)| < 5, where
``get_downsample_rates(key) -> int`` says the rate, in samples a frame.
"""
