"""The intermediate representation: three levels of typed SSA, printable and parseable."""
