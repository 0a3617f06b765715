"""`python -m deploy.demo run|check`."""

from deploy.demo.commands import app

if __name__ == "__main__":
    app(prog_name="python -m deploy.demo")
