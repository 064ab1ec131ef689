"""The course's four tables: schema, rows, population, rules broken, diagrams."""
