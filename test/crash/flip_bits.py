"""flip_bits.py FILE SEED COUNT [HEX]: flips so many random bits of what a sparse file holds, not in its first block; prints their offsets. HEX: only in blocks with these bytes."""

import os
import random
import sys

path, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
holding = bytes.fromhex(sys.argv[4]) if len(sys.argv) > 4 else b""
rng = random.Random(seed)
fd = os.open(path, os.O_RDWR)
size = os.fstat(fd).st_size
pages = []
at = 4096
while at < size:
    try:
        start = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    end = os.lseek(fd, start, os.SEEK_HOLE)
    for page in range(start // 4096 * 4096, end, 4096):
        block = os.pread(fd, 4096, page)
        if page >= 4096 and any(block) and holding in block:
            pages.append(page)
    at = end
for page in rng.sample(pages, min(count, len(pages))):
    offset = page + rng.randrange(4096)
    byte = os.pread(fd, 1, offset)[0]
    os.pwrite(fd, bytes([byte ^ (1 << rng.randrange(8))]), offset)
    print(offset)
