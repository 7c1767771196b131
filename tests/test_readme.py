"""What the README shows in Python is run."""

import pathlib
import re

import jax

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_python_of_the_readme_draws_images():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    # Compiled in one piece, and small: operation by operation it takes a minute.
    code = code.replace("w_dim=512", "w_dim=512, channel_base=256")
    code = code.replace("G(z, None, noise, {})", "jax.jit(lambda z: G(z, None, noise, {}))(z)")
    found = {}
    exec(code, found)
    assert found["img"].shape == (4, 64, 64, 3)
    assert isinstance(found["params"]["synthesis"]["b64"]["conv0"]["weight"], jax.Array)
