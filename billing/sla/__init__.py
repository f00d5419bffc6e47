"""Service levels: what providers promise for their pools, how each day kept it, and what broken promises give back.

terms       what is promised (`terms.py`)                 deciding   facts -> credit, pure (`deciding.py`)
measuring   a day's facts, measurements and credits       backtest   what terms would have cost
"""
