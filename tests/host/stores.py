#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Which instructions of a function may write memory that CPUs share: stores.py MODULE FUNCTION...

Reads the compiled code (objdump, x86-64). What a function is given first, the target, is shared, and
so is all that is reached through a pointer from there. A store to such an address, other than into
per-CPU memory (%gs), is printed, and the exit status is 1. Registers are followed in the order of the
listing, which is that of the code but for jumps back; what a call returns is taken as the I/O's own.
FUNCTION:none says that the function is not given the target."""

import re
import subprocess
import sys

NAMES = {}
for letter in "abcd":
    for name in (f"r{letter}x", f"e{letter}x", f"{letter}x", f"{letter}l", f"{letter}h"):
        NAMES[name] = f"r{letter}x"
for word in ("si", "di", "bp", "sp"):
    for name in (f"r{word}", f"e{word}", word, f"{word}l"):
        NAMES[name] = f"r{word}"
for number in range(8, 16):
    for suffix in ("", "d", "w", "b"):
        NAMES[f"r{number}{suffix}"] = f"r{number}"

CALLER_SAVED = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"}
READS_ONLY = re.compile(r"(cmp|test|bt)[bwlq]?$|j|call|push|pop|nop|endbr|ret|prefetch|data16|cs$|ud2|"
                        r"mul|div|int3")
MOVES = re.compile(r"mov[a-z]*$")


def operands(text):
    """Split at commas that are not within parentheses."""
    return [o.strip() for o in re.split(r",(?![^(]*\))", text) if o.strip()]


def registers(operand):
    return {NAMES[r] for r in re.findall(r"%(\w+)", operand) if r in NAMES}


def is_memory(operand):
    return "(" in operand or ":" in operand


def findings(lines, shared):
    shared = set(shared)
    for at, line in enumerate(lines):
        text = line.split("\t", 1)[1].split("#")[0].split("<")[0].strip()
        words = text.split(None, 1)
        locked = words[0] in ("lock", "rep", "notrack", "bnd")
        if locked:
            words = words[1].split(None, 1)
        name, args = words[0], operands(words[1] if len(words) > 1 else "")
        if name.startswith("call"):
            if at > 1:          # else it is ftrace's place
                shared -= CALLER_SAVED
            continue
        if not args or READS_ONLY.match(name):
            continue
        target, sources = args[-1], args[:-1]
        if is_memory(target):
            if "%gs:" not in target and registers(target) & shared:
                yield line.strip()
            continue
        tainted = any(registers(s) & shared for s in sources)
        clears = name.startswith("xor") and sources and registers(sources[0]) == registers(target)
        if MOVES.match(name) or name.startswith(("lea", "set")) or clears:
            shared -= registers(target)
        if tainted and not clears:
            shared |= registers(target)


def main():
    module, functions = sys.argv[1], sys.argv[2:]
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", module], check=True,
                             capture_output=True, text=True).stdout
    bad = 0
    for function in functions:
        function, _, without = function.partition(":")
        # with what a compiler may add to its name
        code = re.search(rf"^[0-9a-f]+ <{re.escape(function)}(?:\.[\w.]+)?>:\n(.*?)\n\n",
                         listing + "\n\n", re.M | re.S)
        if not code:
            sys.exit(f"{module} has no function {function}")
        lines = [l for l in code.group(1).split("\n") if "\t" in l]
        for line in findings(lines, [] if without else ["rdi"]):
            print(f"{function}: {line}")
            bad += 1
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
