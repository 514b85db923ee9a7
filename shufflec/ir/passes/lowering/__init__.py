"""Float islands between DequantizeLinear and QuantizeLinear, lowered to integer operators; one file an operator."""
