"""The registry: every run, table and figure of a study, resolved and checked while it is read.

It reads config/ and knows which file each job needs; it imports nothing heavy, because Snakemake
parses with it and every job of a workflow may parse again. All errors are one sentence that names
the cure, before any job starts.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from gear import config
from gear.alignment.teachers import resolutions
from gear.files.mistakes import Mistake, did_you_mean
from gear.study import configchecks
from gear.study.configfiles import CONFIG, chosen, read_checked, read_entries, studies
from gear.study.vocabulary import ANALYSED, blocks, samplers_of

STAGES = ("tokenizer", "joint", "ar")
RUN_KEYS = {"from", "tokenizer", "until", "seeds", "scale", "published"}


@dataclass(frozen=True)
class Run:
    """One trained model: a line of runs.yaml with its settings resolved in one study."""

    name: str
    stage: str
    settings: config.Settings
    steps: dict  # milestone name -> optimizer steps, in order
    tokenizer: str | None  # run@step it starts from (joint) or freezes (ar)
    published: bool
    base: str  # the registry line that it is a seed of
    from_public: bool = True  # may a tokenizer start from public weights (not if it says `none`)

    def previous(self, step):
        """The milestone before `step`, or None at the first."""
        names = list(self.steps)
        position = names.index(step)
        return names[position - 1] if position else None


def _seeded(reference, seed, seeds_of):
    """`vq@400k` as seen by a run of another seed: `vq-s12@400k` where vq has that seed."""
    if reference is None:
        return None
    name, _, step = reference.partition("@")
    listed = seeds_of.get(name, ())
    suffix = f"-s{seed}" if seed in listed and seed != listed[0] else ""
    return f"{name}{suffix}@{step}"


class Study:
    """One study: its runs, tables and figures, and where their files lie."""

    def __init__(self, name, results="results", folder=CONFIG):
        folder = Path(folder)
        if name not in studies(folder):
            raise Mistake(
                f"there is no study '{name}'. {did_you_mean(name, studies(folder))} "
                "A study is a file in config/studies/."
            )
        configchecks.place(name, results)
        self.name, self.folder = name, folder
        self.root = f"{results}/{name}"
        self.spec = read_checked(f"studies/{name}", folder)
        configchecks.study(self.spec, f"studies/{name}.yaml")
        for quantizer in self.spec.get("public", {}):
            self._of_study("quantizers", quantizer, f"studies/{name}.yaml, public")
        self.named = {}  # kind -> the tables or figures that config/ has, made here or not
        self.runs = self._expand(read_checked("runs", folder))
        self.tables = self._pick("tables")
        self.figures = self._pick("figures")
        self.claims = read_checked("claims", folder)
        configchecks.claims(self)
        for kind in ("tables", "figures"):
            for name_, entry in getattr(self, kind).items():
                where = f"{kind}.yaml, {name_}"
                for name, step in self.checkpoints_of(entry):
                    run = self.checkpoint(name, step, where)
                    if run.stage != "tokenizer":
                        spec = self._of_study("teachers", run.settings.align.teacher, where)
                        pixels, place = run.settings.data.resolution, f"{where}, {name}"
                        resolutions.check(spec.get("network"), pixels, spec["label"], place)
                for sampler in samplers_of(entry):
                    self.sampler(sampler, where)

    @classmethod
    def chosen(cls, settings, environment=os.environ):
        """The study that a Snakemake config or the variable GEAR_STUDY names; there is no default.

        settings: {'study': name, 'results': folder}, both from the command line or a profile."""
        name = settings.get("study") or environment.get("GEAR_STUDY")
        if not name:
            raise Mistake(
                "no study is chosen; add --config study=demo (or "
                f"{', '.join(s for s in studies() if s != 'demo')}) at the end of the command, or "
                "set GEAR_STUDY. (--config on the command line replaces all of a profile's.)"
            )
        unknown = sorted(set(settings) - {"study", "results"})
        if unknown:
            raise Mistake(
                f"--config has no '{unknown[0]}'. "
                f"{did_you_mean(unknown[0], ('study', 'results'))} "
                "Settings of runs are in config/."
            )
        return cls(str(name), settings.get("results", "results"))

    # ---- reading ---------------------------------------------------------------------------

    def _pick(self, kind):
        """The tables or figures that this study makes, in the order of its list."""
        entries = read_entries(kind, self.folder)
        self.named[kind] = tuple(entries)
        made = chosen(self.spec[kind], entries, f"studies/{self.name}.yaml", kind)
        for name, entry in made.items():
            if "seeds" in entry:
                self._of_study("seeds", entry["seeds"], f"{kind}.yaml, {name}")
        return made

    def _expand(self, registry):
        self.milestones = registry["milestones"]
        configchecks.milestones(self.spec, self.milestones, f"studies/{self.name}.yaml")
        lines, stage_of = {}, {}
        for stage in STAGES:
            for name, line in (registry.get(stage) or {}).items():
                if name in lines:
                    raise Mistake(f"runs.yaml: the run '{name}' is there twice; rename one.")
                configchecks.name(name, "run", f"runs.yaml, {stage}")
                lines[name], stage_of[name] = dict(line or {}), stage
        merged = {name: self._inherit(name, lines, stage_of) for name in lines}
        lists = self.spec["seeds"]
        seeds_of = {}
        for name, line in merged.items():
            wanted = line.get("seeds")
            if wanted is not None and wanted not in lists:
                raise Mistake(
                    f"runs.yaml, {name}: study '{self.name}' has no seeds '{wanted}'. "
                    f"{did_you_mean(wanted, lists)}"
                )
            seeds_of[name] = tuple(lists[wanted]) if wanted else (lists["headline"][0],)
        runs = {}
        for stage in STAGES:
            for name in (n for n in merged if stage_of[n] == stage):
                for seed in seeds_of[name]:
                    run = self._resolve(name, stage, merged[name], seed, seeds_of, runs)
                    if run.name in runs:
                        raise Mistake(
                            f"runs.yaml: '{run.name}' is a line and a seed of another; rename one."
                        )
                    runs[run.name] = run
        return runs

    def _inherit(self, name, lines, stage_of, below=()):
        """The line with its ancestors' keys under its own."""
        line = lines[name]
        parent = line.get("from")
        if parent is None:
            return {k: v for k, v in line.items() if k != "from"}
        if parent not in lines:
            raise Mistake(
                f"runs.yaml, {name}: there is no run '{parent}' to take from. "
                f"{did_you_mean(parent, lines)}"
            )
        if parent in (*below, name):
            raise Mistake(f"runs.yaml, {name}: it takes from itself through '{parent}'.")
        if stage_of[parent] != stage_of[name]:
            raise Mistake(
                f"runs.yaml, {name}: '{parent}' is of stage {stage_of[parent]}; take from a run "
                f"of stage {stage_of[name]}."
            )
        inherited = self._inherit(parent, lines, stage_of, (*below, name))
        inherited = {k: v for k, v in inherited.items() if k not in ("seeds", "published")}
        return inherited | {k: v for k, v in line.items() if k != "from"}

    def _resolve(self, name, stage, line, seed, seeds_of, runs):
        where = f"runs.yaml, {name}"
        own = {k: v for k, v in line.items() if k not in RUN_KEYS}
        own = config.check(own, where, RUN_KEYS)
        tokenizer = line.get("tokenizer")
        tokenizer = _seeded(None if tokenizer == "none" else tokenizer, seed, seeds_of)
        settings = {"seed": seed}
        settings |= config.check(self.spec["settings"] or {}, f"studies/{self.name}.yaml")
        settings |= config.check(
            (self.spec.get("stages") or {}).get(stage) or {}, f"studies/{self.name}.yaml, {stage}"
        )
        if tokenizer is not None:
            source, step = self._split(tokenizer, where)
            parent = self._known(source, runs, where)
            self._has_step(parent, step, where)
            mine = config.flatten({"tokenizer": vars(parent.settings.tokenizer)})
            settings |= mine
        quantizer = own.get("tokenizer.quantizer", settings.get("tokenizer.quantizer", "vq"))
        settings |= config.check(
            self._of_study("quantizers", quantizer, where), f"studies/{self.name}.yaml, quantizers"
        )
        settings |= own
        settings |= self._images(settings, line.get("scale", 1), where)
        size, depth = settings.get("ar.size", "l"), settings.get("align.depth", "default")
        shape = self._of_study("sizes", size, where)
        settings |= {f"ar.{k}": shape[k] for k in ("layers", "dim", "heads")}
        if depth not in shape["depth"]:
            raise Mistake(
                f"{where}: align.depth cannot be '{depth}'. {did_you_mean(depth, shape['depth'])}"
            )
        settings |= {"align.layer": shape["depth"][depth]} | own
        configchecks.settings(settings, where)
        steps = self.spec["milestones"][stage]
        suffix = f"-s{seed}" if seed != seeds_of[name][0] else ""
        return Run(
            name=name + suffix,
            stage=stage,
            settings=config.build(settings, where),
            steps=configchecks.up_to(line.get("until"), steps, self.milestones, where),
            tokenizer=tokenizer,
            published=line.get("published", True),
            base=name,
            from_public=line.get("tokenizer") != "none",
        )

    def _images(self, settings, scale, where):
        """data.resolution, and data.path, of a run whose images are `scale` times the study's.

        Files of any size are cropped to it; images that the study makes have a folder for each."""
        base = settings.get("data.resolution", config.Data.resolution)
        multipliers = settings.get("tokenizer.multipliers", config.Tokenizer().multipliers)
        down = 2 ** (len(multipliers) - 1)
        if base * scale % down:
            raise Mistake(
                f"{where}: scale {scale:g} makes {base * scale:g} pixels of {base}, no multiple of "
                f"the tokenizer's {down}; choose another scale."
            )
        if scale == 1:
            return {}
        images = {"data.resolution": int(base * scale)}
        if self.makes_data:
            images["data.path"] = f"{settings.get('data.path', config.Data.path)}-{base * scale:g}"
        return images

    def _of_study(self, kind, name, where):
        """What the study says about one of its sizes, quantizers, teachers or samplers."""
        known = self.spec[kind]
        if name not in known:
            raise Mistake(
                f"{where}: study '{self.name}' has no {kind[:-1]} '{name}'. "
                f"{did_you_mean(name, known)}"
            )
        return known[name]

    @staticmethod
    def _split(reference, where):
        run, _, step = str(reference).partition("@")
        if not step:
            raise Mistake(f"{where}: '{reference}' names no step; write it as run@step.")
        return run, step

    @staticmethod
    def _known(name, runs, where):
        if name not in runs:
            cure = did_you_mean(name, runs)
            raise Mistake(f"{where}: there is no run '{name}'. {cure}")
        return runs[name]

    @staticmethod
    def _has_step(run, step, where):
        if step not in run.steps:
            raise Mistake(
                f"{where}: run '{run.name}' has no step '{step}'. Its steps: "
                f"{', '.join(run.steps)}."
            )

    # ---- asking ----------------------------------------------------------------------------

    def checkpoint(self, name, step, where="config"):
        """The Run, after a check that it has that step."""
        run = self._known(name, self.runs, where)
        self._has_step(run, step, where)
        return run

    def sampler(self, name, where="config"):
        return self._of_study("samplers", name, where)

    def path(self, run, step, noun=None):
        """Folder of a checkpoint, or of what `noun` (samples, metrics) holds of it."""
        stage = self.runs[run].stage
        above = f"{self.root}/{noun}" if noun else self.root
        return f"{above}/{stage}/{run}/{step}"

    def tokenizer_of(self, run, step):
        """(run, step) whose tokenizer decodes this checkpoint: its own, or the one it froze."""
        if self.runs[run].stage == "ar":
            return self._split(self.runs[run].tokenizer, run)
        return run, step

    def replicas(self, name):
        """The runs that one registry line stands for, one per seed."""
        return [r.name for r in self.runs.values() if r.base == self.runs[name].base]

    def rows(self, table):
        """(row, run, step, samplers) of each trained row, a run for each seed where asked."""
        entry = self.tables[table]
        for row in entry["rows"]:
            if "run" in row:
                name, step = self._split(row["run"], f"tables.yaml, {table}")
                names = self.replicas(name) if "seeds" in entry else [name]
                samplers = [row["sampler"]] if "sampler" in row else entry["samplers"]
                for run in names:
                    yield row, run, step, samplers

    def checkpoints_of(self, entry):
        """Every (run, step) that a table or a figure shows, before seeds."""
        where = entry["title"]
        if "rows" in entry and isinstance(entry["rows"], list):
            return [self._split(r["run"], where) for r in entry["rows"] if "run" in r]
        pairs = [self._split(r, where) for r in (entry.get("rows") or {}).values()]
        pairs += [self._split(r, where) for r in (entry.get("reference") or {}).values()]
        named = [r for c in entry.get("curves", []) for r in c["runs"]]
        named += list((entry.get("runs") or {}).values())
        for name in named:
            run = self._known(name, self.runs, where)
            pairs += [(name, step) for step in run.steps]
        return pairs

    def evaluations(self):
        """{(run, step): samplers} over all tables and figures; () is validation alone.

        A checkpoint's tokenizer is evaluated too, because its reconstruction stands beside the
        samples in the tables. What shows similarities alone needs none (see jobs.analyses)."""
        wanted = {}

        def want(run, step, samplers=()):
            have = wanted.setdefault((run, step), [])
            have += [s for s in samplers if s not in have]
            if (run, step) != self.tokenizer_of(run, step):
                want(*self.tokenizer_of(run, step))

        for table in (t for t, entry in self.tables.items() if blocks(entry) - ANALYSED):
            for _, run, step, samplers in self.rows(table):
                want(run, step, samplers)
        for entry in self.figures.values():
            samplers = samplers_of(entry)
            if entry["kind"] not in ("codebook", "depth_similarity"):
                for run, step in self.checkpoints_of(entry):
                    want(run, step, samplers)
            for reference in (entry.get("reference") or {}).values():
                want(*self._split(reference, entry["title"]))
        order = list(self.spec["samplers"])
        return {key: tuple(sorted(value, key=order.index)) for key, value in wanted.items()}

    @property
    def data(self):
        """The data settings of the study, which only a run's resolution may differ from."""
        return next(iter(self.runs.values())).settings.data

    @property
    def makes_data(self):
        """Whether a rule makes the images, rather than list those of a folder."""
        return self.spec["data"]["maker"] == "digits"

    def manifest(self, name=None):
        """The manifest.json of a run's images; of the study's where no run is named."""
        data = self.runs[name].settings.data if name else self.data
        return f"{data.path if self.makes_data else f'{self.root}/data'}/manifest.json"

    def network(self, quantizer):
        """Settings of the study's tokenizer of that kind, without any run's changes."""
        where = f"studies/{self.name}.yaml"
        stages = self.spec.get("stages") or {}
        flat = {"tokenizer.quantizer": quantizer}
        flat |= config.check(self.spec["settings"] or {}, where)
        flat |= config.check(stages.get("tokenizer") or {}, where)
        flat |= config.check(self._of_study("quantizers", quantizer, where), where)
        return config.build(flat, where)

    def initial(self, name):
        """Folder of the checkpoint whose tokenizer a run starts from or freezes, or None.

        A run of the tokenizer stage starts from its quantizer's public weights, if the study
        names some."""
        run = self.runs[name]
        if run.tokenizer:
            return self.path(*self._split(run.tokenizer, name))
        quantizer = run.settings.tokenizer.quantizer
        public = run.stage == "tokenizer" and run.from_public
        if public and quantizer in self.spec.get("public", {}):
            return f"{self.root}/public/{quantizer}"
        return None
