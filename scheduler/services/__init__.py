"""What can happen in the scheduler, one file per verb's subject. Each service takes a set and may run twice."""
