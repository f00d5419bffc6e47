"""The Computing Power Service Development Index: from market events and public statistics to scores that anyone can check.

The method follows the report of the China Academy of Information and Communications Technology of 2023; weights, data and results
are not the academy's.

    definitions/   trees of indicators as data, with their formulas            (read by `trees`)
    method/        from raw values to scores and ranks, in exact decimals       pure
    ahp/           weights from judgements                                     pure
"""
