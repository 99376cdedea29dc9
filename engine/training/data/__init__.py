"""Where volumes come from and what they become: finding, reading, making, conforming and caching them."""
