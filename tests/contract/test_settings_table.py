"""The README's table of settings is what `chalk settings` prints."""

from __future__ import annotations

from services.cli import table
from services.shared.settings import ROOT


def test_the_readme_lists_every_setting() -> None:
    text = (ROOT / "README.md").read_text()
    _, _, rest = text.partition("<!-- settings: made by `chalk settings`, checked by a test -->")
    shown, end, _ = rest.partition("<!-- /settings -->")
    assert end, "README.md has lost the marks around its table of settings"
    assert shown.strip() == table(), "paste the output of `chalk settings` between the marks in README.md"
