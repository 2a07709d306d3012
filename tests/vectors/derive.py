"""The handle and the key of one cell, or the key and a nonce of one dictionary, derived from the words of docs/format.md with nothing but the standard library.

Run by hand: python3 tests/vectors/derive.py > tests/vectors/handle.txt
and python3 tests/vectors/derive.py dictionary > tests/vectors/dictionary.txt
"""
import hashlib, hmac, struct, sys

def mac(key, *parts): return hmac.new(key, b"".join(parts), hashlib.sha256).digest()
def label(text, width=24): return text.encode().ljust(width, b"\0")
def hkdf(salt, secret, info): return mac(mac(salt, secret), info, b"\x01")

store = bytes([9]) * 16
stream = b"chat".ljust(32, b"\0") + b"EU".ljust(32, b"\0")
stream_key = hkdf(store, bytes([1]) * 32, label("tenure/v1/stream") + stream)
year_key = hkdf(store, stream_key, label("tenure/v1/year") + struct.pack("<h", 2025))
cell_secret = mac(year_key, label("tenure/v1/cell"), struct.pack("<Q", 3))
handle = mac(bytes([2]) * 32, label("tenure/v1/handle", 16), cell_secret)[:16]
cell_key = mac(bytes([2]) * 32, label("tenure/v1/key", 16), cell_secret)
dictionary_key = mac(bytes([2]) * 32, label("tenure/v1/dictionary"), struct.pack("<I", 7), b"\x01")
if sys.argv[1:] == ["dictionary"]:
    nonce = mac(dictionary_key, label("tenure/v1/dict-nonce"), bytes([5]) * 80, b"words")[:12]
    print(dictionary_key.hex(), nonce.hex())
    sys.exit()
print(handle.hex(), cell_key.hex())
