"""``jt1078relay decode``: messages field by field for people, or whole vector files for machines.

``decode PROTOCOL HEX…`` prints a table; hex comes from the arguments or from standard input, as people paste it. ``decode --jsonl FILE`` answers each object
of the file with one line: ``{"id", "ok": true, "fields"}`` or ``{"id", "ok": false, "error"}``; ``error`` is a single word where a receiver must reject the
bytes (``checksum``, ``length`` …), and ``detail`` says more. With ``--exact`` the answers hold enough for ``encode --jsonl`` to give the same bytes again;
``--check`` compares with the fields and bytes that the objects have.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from relay.cli import pcap_options
from relay.cli.dump_table import InputError, Table, parse_hex
from relay.errors import ConfigError, FrameError, RelayError, UsageError
from relay.wire import FieldError

SUMMARY = "explain messages field by field: jt808, jt1078, jt809, or a vector file"

PROTOCOLS = ("jt808", "jt1078", "jt809")



def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="PROTOCOL HEX", help=f"{', '.join(PROTOCOLS)}; then the bytes: blanks and 0x are fine; without, standard input"
    )
    parser.add_argument("--edition", type=int, choices=(2011, 2013, 2019), help="layout of the body (default: what the header tells)")
    parser.add_argument("--body", metavar="ID", help="the bytes are the unescaped body of this message, as 0x0200; jt809: or the data of this sub-business")
    for name in ("m1", "ia1", "ic1"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"jt809: {name.upper()} of the account, for encrypted bodies")
    for name, what in (("n", "modulus"), ("d", "private exponent")):
        parser.add_argument(f"--rsa-{name}", metavar="HEX", help=f"jt808: {what} of the receiver's key, for RSA bodies")
    parser.add_argument("--full", action="store_true", help="do not shorten long fields")
    parser.add_argument("--json", action="store_true", help="one JSON object a message instead of a table")
    parser.add_argument("--jsonl", metavar="FILE", help="a vector file, one JSON object a line; - is standard input")
    parser.add_argument("--exact", action="store_true", help="with --jsonl: answer with all that encode --jsonl needs for the same bytes again")
    parser.add_argument("--check", action="store_true", help="with --jsonl: compare with the objects' own fields and bytes, tell what differs")
    pcap_options.arguments(parser)
    parser.set_defaults(usage_error=parser.error)
    _intermix(parser)


def _intermix(parser: argparse.ArgumentParser) -> None:
    """Let options stand between PROTOCOL and HEX, which argparse by itself does not when a subcommand is parsed."""
    plain = parser.parse_known_args

    def parse(args: Any = None, namespace: Any = None) -> Any:
        parser.parse_known_args = plain  # type: ignore[method-assign]
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = parse  # type: ignore[method-assign]

    parser.parse_known_args = parse  # type: ignore[method-assign]


def run(args: argparse.Namespace) -> int:
    if (args.rsa_n is not None or args.rsa_d is not None) and args.words[:1] != ["jt808"]:
        args.usage_error("--rsa-n and --rsa-d go with jt808 and its bytes")
    if (args.exact or args.check) and args.jsonl is None:
        args.usage_error("--exact and --check go with --jsonl")
    if args.jsonl is not None:
        if args.words:
            args.usage_error("--jsonl takes a file alone")
        if args.check:
            from relay.cli import conformance

            return conformance.run(args.jsonl)
        return answer_lines(args.jsonl, decode_exactly if args.exact else decode_vector)
    if args.pcap is not None:
        if args.words:
            args.usage_error("--pcap takes a file alone")
        from relay.cli import dump_pcap

        return dump_pcap.run(args)
    protocol, *words = args.words or [""]
    if protocol not in PROTOCOLS:
        args.usage_error(f"which protocol? {', '.join(PROTOCOLS)}")
    raw = parse_hex(words or [sys.stdin.read()])
    if protocol == "jt808":
        return _jt808(raw, args)
    if protocol == "jt1078":
        from relay.cli import dump_jt1078

        objects = dump_jt1078.explain(raw, None if args.json else Table(full=args.full))
        if args.json:
            for one in objects:
                print(json.dumps(one, ensure_ascii=False))
        return 0
    return _jt809(raw, args)


def _jt808(raw: bytes, args: argparse.Namespace) -> int:
    from relay.cli import dump_jt808

    return show(dump_jt808.explain(raw, args.edition, _body_id(args), _rsa_key(args)), args)


def _rsa_key(args: argparse.Namespace) -> Any:
    if args.rsa_n is None and args.rsa_d is None:
        return None
    from relay.jt808.rsa import PrivateKey

    numbers = []
    for option, text in (("--rsa-n", args.rsa_n), ("--rsa-d", args.rsa_d)):
        if text is None:
            args.usage_error(f"{option} is missing")
        # openssl prints colons between the bytes
        digits = "".join(text.replace(":", " ").split()).removeprefix("0x")
        if not digits or not set(digits) <= set(string.hexdigits):
            args.usage_error(f"{option} is not a string of hex digits")
        numbers.append(int(digits, 16))
    try:
        return PrivateKey(*numbers)
    except ConfigError as problem:
        args.usage_error(f"--rsa-{problem}")


def _jt809(raw: bytes, args: argparse.Namespace) -> int:
    from relay.cli import dump_jt809

    if args.edition == 2013:
        args.usage_error("JT/T 809 has the editions 2011 and 2019")
    return show(dump_jt809.explain(raw, args.edition, dump_jt809.keys_of_arguments(args), _body_id(args)), args)


def _body_id(args: argparse.Namespace) -> int | None:
    if args.body is None:
        return None
    try:
        return int(args.body, 0)
    except ValueError:
        args.usage_error(f"--body {args.body} is no message id")
        raise


def show(explained: Sequence[Any], args: argparse.Namespace) -> int:
    """Print what ``explain`` found; its faults are the command's."""
    if args.json:
        for one in explained:
            print(json.dumps(one.as_json(), ensure_ascii=False))
    else:
        table = Table(full=args.full)
        for place, one in enumerate(explained):
            if place:
                print()
            one.show(table)
    problems = [one.problem for one in explained if one.problem]
    if problems:
        sys.stdout.flush()
        raise InputError(problems[0] if len(problems) == 1 else f"{problems[0]} (and {len(problems) - 1} more)")
    return 0


# vector files


def decode_exactly(vector: Mapping[str, Any]) -> dict[str, Any]:
    """The object with exact fields in the place of its bytes, for ``encode_vector``."""
    return {name: value for name, value in vector.items() if name not in ("hex", "fields")} | decode_vector(vector, exact=True)


def decode_vector(vector: Mapping[str, Any], exact: bool = False) -> dict[str, Any]:
    """``fields`` for one object."""
    text = vector.get("hex")
    if not isinstance(text, str):
        raise InputError("no hex given")
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise InputError("hex is not a string of hex digits") from None
    fields = codec_for(vector).decode_object(vector, raw, exact)
    if "error" in fields:
        # a stream that breaks off: what was in it until then, and why it ends
        return {"ok": False, "error": fields["error"], "fields": fields}
    return {"fields": fields}


def codec_for(vector: Mapping[str, Any]) -> Any:
    """The module that knows the object's protocol."""
    protocol = vector.get("protocol")
    if protocol == "jt808":
        from relay.cli import dump_jt808

        return dump_jt808
    if protocol == "jt1078":
        from relay.cli import dump_jt1078

        return dump_jt1078
    if protocol == "jt809":
        from relay.cli import dump_jt809

        return dump_jt809
    raise InputError(f"protocol {protocol!r} is not known")


def answer_lines(file: str, work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> int:
    """One answer for each object of ``file``; 1 if a line was no object at all."""
    status = 0
    for vector in vectors(file):
        if isinstance(vector, Mapping):
            line = answer(vector, work)
        else:
            status = 1
            line = {"id": None, "ok": False, "error": f"not a JSON object: {vector}" if isinstance(vector, str) else "not a JSON object"}
        print(json.dumps(line, ensure_ascii=False))
    return status


def answer(vector: Mapping[str, Any], work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` makes of one object, or why it cannot."""
    line: dict[str, Any] = {"id": vector.get("id")}
    try:
        line.update({"ok": True, **work(vector)})
    except FrameError as problem:
        line.update(ok=False, error=problem.reason, detail=str(problem))
    except FieldError as problem:
        line.update(ok=False, error=str(problem))
    except UsageError:
        raise
    except RelayError as problem:
        line.update(ok=False, error=str(problem))
    return line


def vectors(file: str) -> Iterator[Any]:
    """The objects of a file; a line that is none comes as the text of its fault."""
    if file == "-":
        yield from _objects(sys.stdin)
    else:
        with open(file, encoding="utf-8", errors="replace") as stream:
            yield from _objects(stream)


def _objects(stream: Any) -> Iterator[Any]:
    for line in stream:
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as problem:
                yield str(problem)
