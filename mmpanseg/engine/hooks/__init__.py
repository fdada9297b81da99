from .class_consistency_hook import ClassConsistencyHook
from .query_consistency_hook import QueryConsistencyHook

__all__ = ['ClassConsistencyHook', 'QueryConsistencyHook']
