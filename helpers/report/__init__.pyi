from .building import (
    build as build,
    default_out as default_out,
    published_folder as published_folder,
    saved_folder as saved_folder,
    write as write,
)
