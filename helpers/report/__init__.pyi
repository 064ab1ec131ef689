from . import (
    claim as claim,
    claims as claims,
    course as course,
    handout as handout,
    notebooks as notebooks,
    publication as publication,
    reading as reading,
    show as show,
    style as style,
)
from .building import (
    build as build,
    published_folder as published_folder,
    saved_folder as saved_folder,
)
