"""The models that are compared, by size."""
SIZES = {  # vocabulary, hidden, layers, heads, feed-forward
    "base": (250002, 768, 12, 12, 3072),
    "large": (250002, 1024, 24, 16, 4096),
    "tiny": (1002, 64, 2, 4, 128),  # for rehearsals
}
