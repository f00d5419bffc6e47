"""Disputes: a customer doubts charges, the provider answers, an operator decides; what is taken back are new rows.

states     what a dispute may become              sql        the statements, each for any number of charges
awards     what of an amount goes to which charge, and whose share it was (pure)
opening    charges, or lines of an invoice -> disputes; their shares are held from then on
answering  the respondent's answer, messages, withdrawal
deciding   an outcome for many disputes, by an operator or because nobody answered in time
reversing  refunds, their entries, credit notes  months     refunds of charges of months
bundle     everything about a dispute as one document with a digest
"""
