"""The handle of one cell, derived from the words of docs/format.md with nothing but the standard library.

Run by hand: python3 tests/vectors/derive.py > tests/vectors/handle.txt
"""
import hashlib, hmac, struct

def mac(key, *parts): return hmac.new(key, b"".join(parts), hashlib.sha256).digest()
def label(text): return text.encode().ljust(24, b"\0")
def hkdf(salt, secret, info): return mac(mac(salt, secret), info, b"\x01")

store = bytes([9]) * 16
stream = b"chat".ljust(32, b"\0") + b"EU".ljust(32, b"\0")
stream_key = hkdf(store, bytes([1]) * 32, label("tenure/v1/stream") + stream)
year_key = hkdf(store, stream_key, label("tenure/v1/year") + struct.pack("<h", 2025))
cell_secret = mac(year_key, label("tenure/v1/cell"), struct.pack("<Q", 3))
cell_key = mac(bytes([2]) * 32, cell_secret)
print(mac(cell_key, label("tenure/v1/handle"), bytes(16), b"\x01")[:16].hex())
