"""What the self-test found, as JSON for programs and as one page for people: Chinese and English side by side, no script, nothing fetched."""

from __future__ import annotations

import html
import json
import platform
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import relay

BEIJING = timezone(timedelta(hours=8))
TEXT_MAX = 400  #: characters of what is shown of one value


@dataclass(slots=True)
class Check:
    """One thing that was compared."""

    zh: str
    en: str
    sent: str  #: by the one side, or what is wanted
    received: str  #: by the other
    ok: bool


@dataclass(slots=True)
class Result:
    """One step with one superior platform."""

    step: str
    zh: str
    en: str
    messages: str  #: of JT/T 809 and JT/T 1078 that it is about
    superior: str
    checks: list[Check] = field(default_factory=list)
    problem: str = ""  #: why it could not be done to its end
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Done to its end, and everything compared was as it should be."""
        return not self.problem and bool(self.checks) and all(check.ok for check in self.checks)

    def expect(self, zh: str, en: str, sent: object, received: object, ok: bool | None = None) -> bool:
        """Compare; ``ok`` where equality is not the question."""
        right = sent == received if ok is None else ok
        self.checks.append(Check(zh, en, _short(sent), _short(received), right))
        return right


@dataclass(slots=True)
class Figure:
    """Something that was measured."""

    name: str
    zh: str
    en: str
    limit_ms: float
    values_ms: list[float] = field(default_factory=list)

    @property
    def worst_ms(self) -> float | None:
        """The longest; None: never measured."""
        return max(self.values_ms, default=None)

    @property
    def within(self) -> bool:
        """Whether it is below the limit."""
        return self.worst_ms is not None and self.worst_ms <= self.limit_ms


@dataclass(slots=True)
class Report:
    """The whole run."""

    began: datetime
    results: list[Result] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    problem: str = ""  #: why the run ended before its end
    seconds: float = 0.0
    parties: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Every step was right. Figures depend on the machine and are not part of it."""
        return not self.problem and bool(self.results) and all(result.ok for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ok": self.ok,
            "problem": self.problem,
            "program": f"jt1078relay {relay.__version__}",
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "began": self.began.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "parties": self.parties,
            "passed": sum(result.ok for result in self.results),
            "total": len(self.results),
            "steps": [
                {
                    "step": one.step, "zh": one.zh, "en": one.en, "messages": one.messages, "superior": one.superior, "ok": one.ok,
                    "seconds": round(one.seconds, 2), "problem": one.problem,
                    "checks": [
                        {"zh": check.zh, "en": check.en, "sent": check.sent, "received": check.received, "ok": check.ok} for check in one.checks
                    ],
                }
                for one in self.results
            ],
            "figures": [
                {
                    "name": one.name, "zh": one.zh, "en": one.en, "limit_ms": one.limit_ms, "worst_ms": one.worst_ms, "values_ms": one.values_ms,
                    "within": one.within,
                }
                for one in self.figures
            ],
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """``report.json`` and ``report.html``."""
        (folder / "report.json").write_text(json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page(self), encoding="utf-8")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}… ({len(text)})"


_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #c62828; --quiet: #777; }
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, dl { margin: .3rem 0; } .quiet, small { color: var(--quiet); } .good { color: var(--good); } .bad { color: var(--bad); }
.verdict { font-size: 1.2rem; font-weight: 600; border-left: .4rem solid; padding-left: .7rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
td.value { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; } @media print { details > * { display: block; } }
"""


def _verdict(ok: bool) -> str:
    return '<span class="good">✓ 合格 passed</span>' if ok else '<span class="bad">✗ 不合格 failed</span>'


def _both(zh: str, en: str) -> str:
    return f"{html.escape(zh)} <small>{html.escape(en)}</small>"


def page(report: Report) -> str:
    """The readable form: what was compared, step by step; failed steps stand open."""
    told = report.as_dict()
    passed, total = told["passed"], told["total"]
    rows = []
    for one in report.figures:
        worst = f"{one.worst_ms:.1f} ms" if one.worst_ms is not None else "未测得 not measured"
        word = '<span class="good">✓ 达到 within</span>' if one.within else '<span class="bad">✗ 超出 over</span>'
        every = ", ".join(f"{value:.1f}" for value in one.values_ms)
        rows.append(f"<tr><td>{_both(one.zh, one.en)}</td><td>≤ {one.limit_ms:g} ms</td><td>{worst}</td><td class=value>{every}</td><td>{word}</td></tr>")
    steps = []
    for result in report.results:
        problem = f'<p class="bad">{html.escape(result.problem)}</p>' if result.problem else ""
        lines = "".join(
            f"<tr><td>{_both(check.zh, check.en)}</td><td class=value>{html.escape(check.sent)}</td><td class=value>{html.escape(check.received)}</td>"
            f"<td>{'<span class=good>✓</span>' if check.ok else '<span class=bad>✗</span>'}</td></tr>"
            for check in result.checks
        )
        steps.append(
            f"<details{'' if result.ok else ' open'}><summary>{_verdict(result.ok)} · {_both(result.zh, result.en)} · {html.escape(result.superior)} "
            f'<span class="quiet">{html.escape(result.messages)} · {result.seconds:.1f} s</span></summary>{problem}<div class="wide"><table>'
            "<tr><th>比对项 <small>compared</small></th><th>发送/期望 <small>sent, wanted</small></th><th>接收 <small>received</small></th><th></th></tr>"
            f"{lines}</table></div></details>"
        )
    problem = f'<p class="bad">{html.escape(report.problem)}</p>' if report.problem else ""
    parties = "".join(f"<li>{html.escape(party)}</li>" for party in report.parties)
    return (
        f'<!doctype html>\n<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>符合性自检报告 Conformance self-test</title><style>{_STYLE}</style></head><body>"
        f"<h1>符合性自检报告 <small>Conformance self-test</small></h1>"
        f'<p class="quiet">{html.escape(told["program"])} · Python {told["python"]} · {html.escape(told["machine"])} · '
        f"{report.began.astimezone(BEIJING):%Y-%m-%d %H:%M:%S} (UTC+8) · {report.seconds:.1f} s</p>"
        f'<p class="verdict">{_verdict(report.ok)}: {passed} / {total}</p>{problem}'
        "<p>比照 JT/T 1077 的做法：将终端与上级平台发送的内容同另一侧接收的内容逐项比对。 "
        "<small>As JT/T 1077 has it: what terminals and superior platforms sent is compared with what the other side received.</small></p>"
        f"<h2>参与方 <small>parties</small></h2><ul>{parties}</ul>"
        f'<h2>指标 <small>figures</small></h2><div class="wide"><table><tr><th>指标 <small>figure</small></th><th>限值 <small>limit</small></th>'
        f"<th>最差 <small>worst</small></th><th>各次 <small>each</small> (ms)</th><th></th></tr>{''.join(rows)}</table></div>"
        '<p class="quiet">指标取决于机器，不计入合格与否。 <small>Figures depend on the machine and do not decide the verdict.</small></p>'
        f"<h2>步骤 <small>steps</small></h2>{''.join(steps)}</body></html>\n"
    )
