from .building import build as build
from .building import default_out as default_out
from .building import published_folder as published_folder
from .building import saved_folder as saved_folder
from .building import write as write
