"""Networks spread over devices: places to cut made cheap to cross."""
