"""A LightGBM text model becomes C code: `treelite_code.py MODEL FOLDER`, by treelite and tl2cgen."""

import sys

import tl2cgen
import treelite

model, folder = sys.argv[1:]
tl2cgen.generate_c_code(treelite.frontend.load_lightgbm_model(model), dirpath=folder, params={})
