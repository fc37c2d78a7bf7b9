"""tandem: write plugins of tandem (https://pkg.go.dev/tandem) in Python.

An author makes one of Encoder, Loss and Dataset and passes it to serve. README.md beside this package is the manual.
Importing this module is cheap, because the runner asks plugins often what they are. torch, numpy and grpc are
imported when the runner starts the plugin.
"""

from .config import field
from .fault import Fault
from .plugins import Dataset, Encoder, Loss, Sample
from .process import claim_stdout, is_asked, serve

__all__ = ["Dataset", "Encoder", "Fault", "Loss", "Sample", "field", "serve"]
__version__ = "0.1.0"

if is_asked():  # whatever the plugin imports may print
    claim_stdout()
