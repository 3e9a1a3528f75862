"""The console's files at `/`, as `make console` builds them into `streams/api/static/`."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "static"


def is_built(folder: Path = FOLDER) -> bool:
    """Whether the console is there."""
    return (folder / "index.html").is_file()


def serve_console(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the folder, if it is there. The console routes behind `#`: any other path outside /api is a file or 404."""
    built = is_built(folder)

    @app.get("/", include_in_schema=False)
    async def _index() -> Response:
        if not built:
            return PlainTextResponse("The console is not built: `make console` builds it, then start again.\n", 503)
        return FileResponse(folder / "index.html", headers={"Cache-Control": "no-cache"})

    if built:
        app.mount("/", StaticFiles(directory=folder), name="console")
