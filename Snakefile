# Every table and figure of one study. See README.md; say which study: --config study=demo
from gear.files.mistakes import Mistake, did_you_mean
from gear.study.registry import Study
from gear.study.specs.claims import claims_spec
from gear.study.specs.tables import figure_spec, inputs, table_spec

try:
    STUDY = Study.chosen(config)
    TABLES = {name: table_spec(STUDY, name) for name in STUDY.tables}
    FIGURES = {name: figure_spec(STUDY, name) for name in STUDY.figures}
    CLAIMS = claims_spec(STUDY)
except Mistake as error:
    sys.exit(f"gear: {error}")
R = STUDY.root


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/joint.smk"
include: "workflow/rules/ar.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/targets.smk"
