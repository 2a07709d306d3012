#!/usr/bin/env python3
"""An external custodian for Tenure, the simplest honest one: an escrow. Python 3, standard library only.

    tenure -s calls --custodian-command "keeper.py /var/lib/keeper" init
    tenure -s calls --custodian-command "ssh keeper@vault keeper.py /var/lib/keeper --no-copies" init

It speaks version 1 of the protocol in docs/custodian.md. `seal` puts the secret itself into a file of the directory and
answers with a random handle; `open` gives it back; `destroy-before` deletes the files. One directory is one store. The
directory belongs on another machine than the store, or at least outside of every backup of it.

Nobody can delete copies that somebody else made. So it answers `final no`, unless the operator vouches with --no-copies
that no copy of the directory (backup, snapshot, replica) is ever made.

It keeps out a second opener for as long as the process that registered lives, where it can see that: on the same Linux
machine, by process id and start time. Everywhere it refuses calls in the name of an opening that is no longer the one
registered.
"""

import fcntl
import json
import os
import secrets
import sys

VERSION = "tenure-custodian 1"
LIMIT = 64 * 1024
INVALID, CORRUPT, LOCKED, UNAVAILABLE = 2, 3, 11, 12


class Refused(Exception):
    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def caller():
    """The process that called us, in a way that outlives its number: [pid, start time], or None where unknown."""
    return started(os.getppid())


def started(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return [pid, int(fields[19])]
    except (OSError, IndexError, ValueError):
        return None


class Keeper:
    def __init__(self, directory, no_copies):
        self.directory = directory
        self.no_copies = no_copies
        self.state_path = os.path.join(directory, "state")
        self.secrets = os.path.join(directory, "secrets")

    # What it remembers.

    def exclusively(self):
        """One call at a time."""
        if not os.path.isdir(self.directory):
            raise Refused(UNAVAILABLE, f"there is no keeper's directory {self.directory}")
        self.lock = open(os.path.join(self.directory, "lock"), "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def state(self):
        try:
            with open(self.state_path, "rb") as file:
                return json.load(file)
        except FileNotFoundError:
            raise Refused(UNAVAILABLE, f"{self.directory} keeps no store's keys") from None
        except ValueError:
            raise Refused(CORRUPT, f"{self.state_path} is damaged") from None

    def put(self, state):
        temporary = f"{self.state_path}.{secrets.token_hex(8)}.tmp"
        write_new(temporary, json.dumps(state, indent=1).encode())
        os.replace(temporary, self.state_path)
        sync_directory(self.directory)

    def kept(self):
        """The files of secrets, as (epoch, path)."""
        names = [name for name in os.listdir(self.secrets) if not name.startswith(".")]
        return [(int(name.split("-")[0]), os.path.join(self.secrets, name)) for name in names]

    def in_the_name_of(self, opening):
        """The state, if the call may change it."""
        state = self.state()
        number, token = state["opening"]
        if opening == f"{number} {token}" or (opening == "none" and number == 0):
            return state
        raise Refused(UNAVAILABLE, "this opening is over: the store was opened by somebody else since")

    # The calls.

    def create(self, store):
        os.makedirs(self.secrets, mode=0o700, exist_ok=True)
        sync_directory(self.directory)
        self.exclusively()
        if os.path.exists(self.state_path):
            state = self.state()
            if state["opening"][0] != 0 or state["ledger"][0] != 0:
                raise Refused(INVALID, f"{self.directory} already keeps the keys of a store that was opened")
        for _, path in self.kept():
            self.delete(path)
        sync_directory(self.secrets)
        self.put(
            {
                "store": array(store, 16),
                "opening": [0, secrets.token_hex(16)],
                "next_epoch": 1,
                "ledger": [0, "00" * 32],
                "destroyed_before": 0,
                "holder": None,
            }
        )
        return []

    def registration(self):
        self.exclusively()
        state = self.state()
        return [
            ("store", state["store"]),
            ("opening", "{} {}".format(*state["opening"])),
            ("ledger", "{} {}".format(*state["ledger"])),
            ("destroyed-before", state["destroyed_before"]),
        ]

    def register(self, expected, new):
        self.exclusively()
        state = self.state()
        if expected != "{} {}".format(*state["opening"]):
            raise Refused(UNAVAILABLE, "the store was opened by somebody else just now")
        holder = state["holder"]
        if holder is not None and started(holder[0]) == holder:
            raise Refused(LOCKED, f"process {holder[0]} has the store open")
        state["opening"] = pair(new, 16)
        state["holder"] = caller()
        self.put(state)
        return []

    def release(self, opening):
        self.exclusively()
        state = self.in_the_name_of(opening)
        state["holder"] = None
        self.put(state)
        return []

    def next_epoch(self, opening):
        self.exclusively()
        state = self.in_the_name_of(opening)
        epoch = state["next_epoch"]
        state["next_epoch"] = epoch + 1
        self.put(state)
        return [("epoch", epoch)]

    def seal(self, opening, epoch, plain):
        self.exclusively()
        state = self.in_the_name_of(opening)
        epoch = number(epoch)
        if not state["destroyed_before"] <= epoch < state["next_epoch"]:
            raise Refused(INVALID, "an epoch that is over, or was never given out")
        handle = secrets.token_hex(16)
        write_new(self.path(epoch, handle), bytes.fromhex(plain))
        sync_directory(self.secrets)
        return [("sealed", f"{epoch:016x}{handle}")]

    def open(self, sealed):
        self.exclusively()
        state = self.state()
        array(sealed, 24)
        epoch, handle = int(sealed[:16], 16), sealed[16:]
        try:
            with open(self.path(epoch, handle), "rb") as file:
                return [("plain", file.read().hex())]
        except FileNotFoundError:
            gone = epoch < state["destroyed_before"]
            words = "the secret of this root record was destroyed" if gone else "this root record was not sealed here"
            raise Refused(UNAVAILABLE, words) from None

    def destroy_before(self, opening, epoch):
        self.exclusively()
        state = self.in_the_name_of(opening)
        epoch = number(epoch)
        kept = self.kept()
        if all(sealed < epoch for sealed, _ in kept):
            raise Refused(INVALID, "no newer secret is kept, so nothing is destroyed")
        for path in [path for sealed, path in kept if sealed < epoch]:
            self.delete(path)
        sync_directory(self.secrets)
        if any(sealed < epoch for sealed, _ in self.kept()):
            raise Refused(1, "a deleted secret is still there")
        state["destroyed_before"] = max(epoch, state["destroyed_before"])
        self.put(state)
        where = f"{os.uname().nodename}:{os.path.abspath(self.directory)}"
        if self.no_copies:
            return [("final", "yes"), ("words", f"deleted from {where}, of which its operator vouches that no copy is made")]
        return [("final", "no"), ("words", f"deleted from {where}: undone by any copy of that directory")]

    def advance(self, opening, ledger):
        self.exclusively()
        state = self.in_the_name_of(opening)
        length, head = pair(ledger, 32)
        if length > state["ledger"][0]:
            state["ledger"] = [length, head]
            self.put(state)
        elif length == state["ledger"][0] and head != state["ledger"][1]:
            raise Refused(CORRUPT, "another ledger of the same length")
        return []

    def path(self, epoch, handle):
        return os.path.join(self.secrets, f"{epoch:020}-{handle}")

    @staticmethod
    def delete(path):
        with open(path, "r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        os.unlink(path)


def number(text):
    if not text.isascii() or not text.isdigit() or str(int(text)) != text or int(text) >= 1 << 64:
        raise Refused(INVALID, "a number is not one")
    return int(text)


def array(text, length):
    if len(text) != 2 * length or any(digit not in "0123456789abcdef" for digit in text):
        raise Refused(INVALID, f"a field has not {length} bytes in lowercase hex")
    return text


def pair(text, length):
    first, _, second = text.partition(" ")
    return [number(first), array(second, length)]


CALLS = {
    "create": ["store"],
    "registration": [],
    "register": ["expected", "new"],
    "release": ["opening"],
    "next-epoch": ["opening"],
    "seal": ["opening", "epoch", "plain"],
    "open": ["sealed"],
    "destroy-before": ["opening", "epoch"],
    "advance": ["opening", "ledger"],
}


def read_request(text):
    """The call and its values, in the order of CALLS."""
    lines = text.split("\n")
    if lines[0] != VERSION:
        raise Refused(INVALID, f"this program speaks {VERSION}")
    if len(lines) < 4 or lines[-2:] != ["end", ""] or not lines[1].startswith("call "):
        raise Refused(INVALID, "the request is not whole")
    call = lines[1][len("call ") :]
    names = CALLS.get(call)
    fields = [line.partition(" ") for line in lines[2:-2]]
    if names is None or [name for name, _, _ in fields] != names:
        raise Refused(INVALID, "an unknown call, or fields that do not belong to it")
    return call, [value for _, _, value in fields]


def main(arguments):
    no_copies = "--no-copies" in arguments
    directories = [argument for argument in arguments if not argument.startswith("-")]
    if len(directories) != 1 or len(arguments) != 1 + no_copies:
        print(__doc__, file=sys.stderr)
        return INVALID
    try:
        call, values = read_request(sys.stdin.buffer.read(LIMIT).decode("ascii"))
        fields = getattr(Keeper(directories[0], no_copies), call.replace("-", "_"))(*values)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.code
    except (OSError, ValueError) as error:
        # An OSError names a file, never a secret; of a ValueError only its kind is told.
        print(error if isinstance(error, OSError) else "the request has a malformed value", file=sys.stderr)
        return 1
    lines = [VERSION] + [f"{name} {value}" for name, value in fields] + ["end"]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
