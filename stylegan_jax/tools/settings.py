"""Writes the page of all settings: `python -m stylegan_jax.tools.settings > docs/settings.md`."""

from stylegan_jax.training.settings import PAIRS, SETTINGS

_HEAD = """# Settings

Written by `python -m stylegan_jax.tools.settings > docs/settings.md`, from the table that is
checked before a run. Given as `--config.SECTION.KEY=VALUE`; a recipe has the keys of its networks.
"""


def settings_page() -> str:
    """Returns the page, in Markdown."""
    parts = [_HEAD]
    section = None
    for key, setting in SETTINGS.items():
        name = key.partition(".")[0] if "." in key else "run"
        if name != section:
            section = name
            parts.append(f"\n## {section}\n\n| key | what | may be |\n|---|---|---|\n")
        parts.append(f"| `{key}` | {setting.text} | {setting.describe()} |\n")
    parts.append("\n## Right alone, wrong together\n\n| keys | refused |\n|---|---|\n")
    for pair in PAIRS:
        keys = ", ".join(f"`{key}`" for key in pair.keys)
        parts.append(f"| {keys} | {pair.text} |\n")
    return "".join(parts)


if __name__ == "__main__":
    print(settings_page(), end="")
