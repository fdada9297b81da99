from .class_consistency_hook import ClassConsistencyHook

__all__ = ['ClassConsistencyHook']
