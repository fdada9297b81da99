"""Checks of data sets: every problem in one pass, with an id, a place and a way to mend it."""
from mmpanseg.doctor.catalog import CHECKS, Check
from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.report import Report
from mmpanseg.doctor.run import run_doctor
from mmpanseg.doctor.source import ImageRecord, Options, Source, sources_of_config

__all__ = ['CHECKS', 'Check', 'ImageRecord', 'Options', 'Problem', 'Report', 'Severity', 'Source',
           'problem', 'run_doctor', 'sources_of_config']
