# Every table and figure of one study. See README.md; say which study: --config study=demo
from gear.files.mistakes import Mistake, did_you_mean
from gear.study.registry import Study
from gear.study.specs.tables import inputs

try:
    STUDY = Study.chosen(config)
    TABLES, FIGURES, CLAIMS = STUDY.table_specs, STUDY.figure_specs, STUDY.claims_spec
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
